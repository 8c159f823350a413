"""Tests of the stores, file by file; what all of them promise is checked by `test_promises`."""
