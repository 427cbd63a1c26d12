//! How much room a disk has left.

use std::path::Path;

use crate::Store;

/// Bytes that are left to conversations: traffic stops when fewer are free. On a disk smaller than
/// [`SMALL`] an eighth of it.
const FOR_CONVERSATIONS: u64 = 64 * 1024 * 1024;

/// Bytes that are left to turns that run: none is begun when fewer are free. On a disk smaller
/// than [`SMALL`] a thirty-second of it.
const FOR_RUNNING: u64 = 16 * 1024 * 1024;

/// Bytes below which a disk is small.
const SMALL: u64 = 512 * 1024 * 1024;

/// The room on a disk, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What is free for this program.
    pub free: u64,
    /// What there is in all.
    pub size: u64,
}

impl Room {
    /// The room on the disk where `path` is; `None` when it cannot be told.
    pub fn at(path: &Path) -> Option<Self> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        let found = rustix::fs::statvfs(directory).ok()?;
        Some(Self {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            size: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }

    /// Whether there is room for traffic. Once there was none, it takes a quarter more to begin
    /// again: a disk at the limit would otherwise start and stop it all the time.
    pub fn for_traffic(self, stopped: Stopped) -> bool {
        let reserve = self.share(FOR_CONVERSATIONS);
        match stopped {
            Stopped::No => self.free >= reserve,
            Stopped::Yes => self.free >= reserve / 4 * 5,
        }
    }

    /// Whether there is room for one turn more.
    pub fn for_turns(self) -> bool {
        self.free >= self.share(FOR_RUNNING)
    }

    /// As much of this disk as `bytes` are of a small one, at most `bytes`.
    fn share(self, bytes: u64) -> u64 {
        bytes.min(self.size / (SMALL / bytes))
    }
}

impl Store {
    /// Whether the disk has room for one turn more. Where it cannot be told, writing tells.
    pub fn has_room(&self) -> bool {
        Room::at(&self.0.path).is_none_or(Room::for_turns)
    }
}

/// Whether traffic was stopped for want of room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It is being recorded.
    No,
    /// It is not.
    Yes,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn traffic_stops_before_turns_do_on_small_disks_and_large_ones() {
        for (size, traffic, turns) in [
            (32 * MIB, 4 * MIB, MIB),
            (512 * MIB, 64 * MIB, 16 * MIB),
            (1024 * 1024 * MIB, 64 * MIB, 16 * MIB),
        ] {
            let room = |free| Room { free, size };
            assert!(room(traffic).for_traffic(Stopped::No));
            assert!(!room(traffic - 1).for_traffic(Stopped::No));
            assert!(!room(traffic).for_traffic(Stopped::Yes));
            assert!(room(traffic / 4 * 5).for_traffic(Stopped::Yes));
            assert!(room(turns).for_turns());
            assert!(!room(turns - 1).for_turns());
        }
    }

    #[test]
    fn a_disk_says_what_room_it_has() {
        let directory = tempfile::tempdir().unwrap();
        let room = Room::at(&directory.path().join("t.db")).unwrap();
        assert!(room.size > 0 && room.free <= room.size, "{room:?}");
        assert_eq!(Room::at(&directory.path().join("none/t.db")), None);
        assert!(Room::at(Path::new("t.db")).is_some());
    }
}
