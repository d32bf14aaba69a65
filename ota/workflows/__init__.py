"""One job a module, from inventory to outcome; every end (connection, store, clock, watcher) comes as an argument."""
