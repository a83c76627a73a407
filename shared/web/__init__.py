"""What the pages of all services share: the layout, static files, the login and the admin session."""
