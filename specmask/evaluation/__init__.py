"""Evaluation: scores, statistics, reports."""
