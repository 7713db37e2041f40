"""The management API: requests that change who may do what, decided, recorded, done, answered."""
