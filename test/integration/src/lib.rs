//! Scenarios with real processes
