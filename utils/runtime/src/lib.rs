//! Tokio driver for sans-io cores: listener, shards, shutdown, configuration, logs
