-- One database for each service that keeps something; run once, when the volume is new.
CREATE DATABASE dagster;
CREATE DATABASE mlflow;
CREATE DATABASE lakefs;
