"""The pages of results: tables, figures and sentences from result files alone."""
