"""Tests of `penguiflow.wire`."""
