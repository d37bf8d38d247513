"""What earlier runs of an upload left, in OSS and in the journal."""
