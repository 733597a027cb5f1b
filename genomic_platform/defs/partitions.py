"""The one partition dimension of the graph: a season of a programme, key `<program>:<season>`."""

import dagster as dg

field_season = dg.DynamicPartitionsDefinition(name="field_season")
