"""Tests of the command line, seen from outside: real processes."""
