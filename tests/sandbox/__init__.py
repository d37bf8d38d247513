"""Tests of the sandbox: driven by the real SDKs and by requests captured from them."""
