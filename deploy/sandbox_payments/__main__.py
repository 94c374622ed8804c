"""`python -m deploy.sandbox_payments`, told by PORT, HOST, PAYMENT_API_KEY, PAYMENT_SIGNING_SECRETS, SANDBOX_HOME."""

import os

import uvicorn

from deploy.sandbox_payments.app import create, from_environment


def main() -> None:
    uvicorn.run(
        create(from_environment()),
        host=os.environ.get("HOST", "127.0.0.1"),
        port=int(os.environ["PORT"]),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
