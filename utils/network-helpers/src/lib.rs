//! Sv2 connections on tokio, with and without noise
