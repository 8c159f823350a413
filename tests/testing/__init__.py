"""Tests of `penguiflow.testing`."""
