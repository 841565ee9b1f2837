//! The load against a driver that answers as a super peer would.
