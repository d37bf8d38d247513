"""Tests of the sandbox, with the real SDKs and with requests captured from them."""
