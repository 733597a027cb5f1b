#!/bin/sh
# What the services need before they start to work; everything here may be repeated.
set -e
dagster instance migrate
genomic-platform store setup --first-user --actions /opt/lakefs_actions
