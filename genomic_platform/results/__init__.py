"""What a person is shown and can ask: report, status, ranking, predictions, exports, figures and terminal tables.

Read from what is published; nothing here trains, decides or writes to the store.
"""
