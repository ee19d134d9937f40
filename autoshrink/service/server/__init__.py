"""The service: searches that are submitted, queued, followed and fetched over REST."""
