"""How each exchange is listened to: what is said on its connections, and where its contracts are listed."""
