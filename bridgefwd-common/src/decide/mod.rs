//! What to do with a packet.
