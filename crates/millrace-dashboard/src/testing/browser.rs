//! A headless Chromium, driven through the DevTools protocol: just what tests of pages need.
//!
//! ```text
//! Browser::launch ─▶ chromium --remote-debugging-port=0 ─▶ "DevTools listening on ws://…" ─▶ one WebSocket
//! Tab: goto · eval · wait_for · press · resize · dark · screenshot · problems
//! ```

mod wire;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use wire::Wire;

/// What went wrong, in words.
pub type Failure = String;

const LAUNCH_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(30);
/// Time for a resized page to draw itself again.
const SETTLE: Duration = Duration::from_millis(900);

/// A running browser with a fresh profile; ended and cleaned up when dropped.
pub struct Browser {
    wire: Wire,
    profile: PathBuf,
    // Killed on drop.
    _process: Child,
}

/// One page of a browser.
pub struct Tab {
    wire: Wire,
    session: String,
    size: Cell<(u32, u32)>,
}

impl Browser {
    /// Starts the browser: `MILLRACE_CHROMIUM` if set, else `chromium`.
    ///
    /// # Errors
    /// There is no such program, or it does not start within 30 seconds.
    pub async fn launch() -> Result<Browser, Failure> {
        let program = std::env::var("MILLRACE_CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
        let unique = format!("millrace-browser-{}-{:x}", std::process::id(), crate::shared::now().0);
        let profile = std::env::temp_dir().join(unique);
        let mut process = Command::new(&program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--hide-scrollbars", "--force-color-profile=srgb", "--lang=en-GB", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start `{program}`: {error}; install chromium or set MILLRACE_CHROMIUM"))?;
        let errors = process.stderr.take().ok_or("the browser has no stderr")?;
        let mut lines = BufReader::new(errors).lines();
        let address = timeout(LAUNCH_MAX, async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some((_, address)) = line.split_once("DevTools listening on ") {
                    return Some(address.trim().to_owned());
                }
            }
            None
        });
        let address = address.await.ok().flatten().ok_or_else(|| format!("`{program}` did not tell its address"))?;
        // Nobody reads further, but the pipe must not fill.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let wire = Wire::connect(&address).await?;
        Ok(Browser { wire, profile, _process: process })
    }

    /// Opens a page of this size, in CSS pixels.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn tab(&self, width: u32, height: u32) -> Result<Tab, Failure> {
        let target = self.wire.call(None, "Target.createTarget", json!({"url": "about:blank"})).await?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.wire.call(None, "Target.attachToTarget", attach).await?;
        let session = attached["sessionId"].as_str().ok_or("the browser gave no session")?.to_owned();
        let tab = Tab { wire: self.wire.clone(), session, size: Cell::new((width, height)) };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            tab.call(domain, json!({})).await?;
        }
        tab.resize(width, height).await?;
        Ok(tab)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The process may still write for a moment; what is left then is in the system's temporary folder.
        let _ = self._process.start_kill();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

impl Tab {
    async fn call(&self, method: &str, params: Value) -> Result<Value, Failure> {
        self.wire.call(Some(&self.session), method, params).await
    }

    /// Loads an address and waits for its scripts.
    ///
    /// # Errors
    /// The page cannot be loaded.
    pub async fn goto(&self, url: &str) -> Result<(), Failure> {
        let answer = self.call("Page.navigate", json!({"url": url})).await?;
        if let Some(error) = answer["errorText"].as_str() {
            return Err(format!("{url}: {error}"));
        }
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'", 20_000).await
    }

    /// The value of an expression, promises awaited.
    ///
    /// # Errors
    /// The expression throws.
    pub async fn eval(&self, expression: &str) -> Result<Value, Failure> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", params).await?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(format!("{expression}: {}", details["exception"]["description"])),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Waits until an expression is true.
    ///
    /// # Errors
    /// It is not within `ms_max`.
    pub async fn wait_for(&self, expression: &str, ms_max: u64) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_millis(ms_max);
        let mut last = String::new();
        while Instant::now() < until {
            match self.eval(&format!("Boolean({expression})")).await {
                Ok(Value::Bool(true)) => return Ok(()),
                Ok(_) => last.clear(),
                // A navigation under way has no page to ask.
                Err(error) => last = error,
            }
            sleep(POLL).await;
        }
        Err(format!("not true within {ms_max} ms: {expression} {last}"))
    }

    /// Sets the size of the page; widths below 600 are a phone's, with touch and twice the pixels.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn resize(&self, width: u32, height: u32) -> Result<(), Failure> {
        self.size.set((width, height));
        self.show(width, height).await
    }

    async fn show(&self, width: u32, height: u32) -> Result<(), Failure> {
        let phone = width < 600;
        let scale = if phone { 2 } else { 1 };
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone});
        self.call("Emulation.setDeviceMetricsOverride", metrics).await?;
        self.call("Emulation.setTouchEmulationEnabled", json!({"enabled": phone})).await?;
        Ok(())
    }

    /// Makes the system's choice dark or light, and motion reduced or not.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn prefers(&self, dark: bool, less_motion: bool) -> Result<(), Failure> {
        let features = json!({"features": [
            {"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }},
            {"name": "prefers-reduced-motion", "value": if less_motion { "reduce" } else { "no-preference" }},
        ]});
        self.call("Emulation.setEmulatedMedia", features).await.map(|_| ())
    }

    /// Turns the page's scripts off or on for what is loaded next.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn scripts(&self, on: bool) -> Result<(), Failure> {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": !on})).await.map(|_| ())
    }

    /// Presses and releases a key: `Tab`, `Enter`, `ArrowLeft`, a letter.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn press(&self, key: &str) -> Result<(), Failure> {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            " " => 32,
            letter => letter.bytes().next().map_or(0, |byte| u32::from(byte.to_ascii_uppercase())),
        };
        let text = match key {
            "Enter" => "\r",
            key if key.chars().count() == 1 => key,
            _ => "",
        };
        let mut down = json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code});
        if !text.is_empty() {
            down["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", down).await?;
        let up = json!({"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", up).await.map(|_| ())
    }

    /// Saves a picture of what is visible, or of the whole page.
    ///
    /// # Errors
    /// The browser does not answer, or the file cannot be written.
    pub async fn screenshot(&self, path: &Path, whole: bool) -> Result<(), Failure> {
        // The whole page is photographed in a window as high as it is, so that what is fixed stays at its edge.
        let size = self.size.get();
        if whole {
            let height = self.eval("document.documentElement.scrollHeight").await?.as_u64().unwrap_or(0);
            self.show(size.0, u32::try_from(height).unwrap_or(size.1).max(size.1)).await?;
            sleep(SETTLE).await;
        }
        let answer = self.call("Page.captureScreenshot", json!({"format": "png"})).await;
        if whole {
            self.show(size.0, size.1).await?;
        }
        let answer = answer?;
        let picture = STANDARD.decode(answer["data"].as_str().unwrap_or_default()).map_err(|e| e.to_string())?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        std::fs::write(path, picture).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Errors the page has had so far: exceptions, refused content, failed requests.
    pub fn problems(&self) -> Vec<String> {
        self.wire.problems(&self.session)
    }
}
