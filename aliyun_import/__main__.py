"""Entry point of `python -m aliyun_import`."""

from aliyun_import.cli.main import run

if __name__ == "__main__":
    run()
