"""Contract tests: what ports.py promises, held against the sandbox always and against a real account when asked.

For a real account set ALIYUN_IMPORT_CONTRACT_REGION and ALIYUN_IMPORT_CONTRACT_BUCKET (a bucket of that region that is
there already) beside the credentials, and run `pytest tests/contract -m slow`. Objects are made below
`aliyun-import-contract/` and removed again; nothing is imported, and no role is made.
"""
