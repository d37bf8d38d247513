"""Contract tests of the service interfaces: with the sandbox, with the in-memory services, and with a real account.

For a real account set ALIYUN_IMPORT_CONTRACT_REGION and ALIYUN_IMPORT_CONTRACT_BUCKET (an existing bucket of that
region) in addition to the credentials, and run `pytest tests/contract -m slow`. Objects are created below
`aliyun-import-contract/` and removed again; nothing is imported, and no role is created.
"""
