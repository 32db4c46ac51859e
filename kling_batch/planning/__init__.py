"""Manifest and state to Plan: prices, actions, timetable; pure."""
