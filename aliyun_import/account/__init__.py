"""Checks of the account before the upload: identity, region, staging bucket, image name."""
