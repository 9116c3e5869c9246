//! The file a role keeps its state in: after a crash there is the old state or the new one, whole.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// Ends a state with its checksum.
pub(crate) fn seal(mut state: Vec<u8>) -> Vec<u8> {
    let sum = fnv(&state);
    state.extend_from_slice(&sum.to_le_bytes());
    state
}

/// A state without its checksum.
///
/// # Errors
/// The checksum does not fit.
pub(crate) fn unseal(bytes: &[u8]) -> anyhow::Result<&[u8]> {
    let (state, told) = bytes.split_last_chunk().context("it is cut off")?;
    ensure!(fnv(state) == u64::from_le_bytes(*told), "its checksum does not fit: it is cut off or was changed");
    Ok(state)
}

/// A hash of bytes. Source: Fowler, Noll and Vo (FNV-1a).
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// Puts bytes into the place of a file: beside the old one, made durable, renamed over it.
///
/// # Errors
/// The folder or the file cannot be written.
pub(crate) fn put(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let unfinished = file.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut out = File::create(&unfinished)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        std::fs::rename(&unfinished, file)?;
        File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("cannot keep the state in {}", file.display()))
}
