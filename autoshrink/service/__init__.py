"""What joins the rooms: one search with its tracking and pictures; later the schedule and the server."""
