"""This file lets `python -m aliyun_import` do what the command `aliyun-import` does."""

from aliyun_import.cli.main import run

if __name__ == "__main__":
    run()
