//! A folder of fetched things, filled once whoever asks first and however many ask at once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Written last: a folder without it was interrupted and is filled anew.
const COMPLETE: &str = "complete";

/// The folder `name`, filled by `fill` if it is not there yet. Other processes wait.
pub(super) fn folder(name: &str, fill: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let base = base();
    let folder = base.join(name);
    if folder.join(COMPLETE).exists() {
        return Ok(folder);
    }
    let failed = |what: &str, e: std::io::Error| format!("{what} {}: {e}", folder.display());
    fs::create_dir_all(&base).map_err(|e| failed("make", e))?;
    let lock = File::create(base.join(format!("{name}.lock"))).map_err(|e| failed("lock", e))?;
    lock.lock().map_err(|e| failed("lock", e))?;
    if folder.join(COMPLETE).exists() {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|e| failed("empty", e))?;
    }
    fs::create_dir_all(&folder).map_err(|e| failed("make", e))?;
    fill(&folder)?;
    fs::write(folder.join(COMPLETE), "").map_err(|e| failed("fill", e))?;
    Ok(folder)
}

fn base() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    cache.filter(|cache| cache.is_dir()).unwrap_or_else(std::env::temp_dir).join("millrace-tests")
}
