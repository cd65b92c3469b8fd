//! Serves any template source over the Template Distribution Protocol
