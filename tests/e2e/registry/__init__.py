"""Tests of the registry, in a package so that its servers end with its last test."""
