"""Control of a sandbox from outside: facts of the account, the control plane, the console."""
