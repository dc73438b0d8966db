//! The commands, one file each.

pub mod mock_venue;
