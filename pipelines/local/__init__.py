"""Pipelines on this machine: process, console, first request, summary and demo."""
