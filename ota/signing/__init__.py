"""Release keys at work on the controller: OpenSSH's signature form, key files and a running ssh-agent."""
