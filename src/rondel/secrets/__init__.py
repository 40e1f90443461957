"""Secrets: which variables and files hold them, which values to hide, and the masker that hides them.

The SDK and the embedded engine both use this package, so that a name or a
value that counts as a secret in one place counts in all of them.
"""
