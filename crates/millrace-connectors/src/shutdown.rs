//! How a role is asked to end: at once, or after what was there when it was asked.

use tokio::sync::watch;

/// What a role is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ending {
    /// Go on.
    None,
    /// Consume what is in the topics now, then end.
    Drain,
    /// End at once; what is under way is done again after the next start.
    Stop,
}

/// Asks the roles that hold its [`Shutdown`].
#[derive(Debug)]
pub struct ShutdownSwitch(watch::Sender<Ending>);

/// What a role looks at. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<Ending>);

/// A switch and what it switches. A switch that is dropped has asked to stop.
pub fn shutdown() -> (ShutdownSwitch, Shutdown) {
    let (switch, shutdown) = watch::channel(Ending::None);
    (ShutdownSwitch(switch), Shutdown(shutdown))
}

impl ShutdownSwitch {
    /// Asks. A stop is not taken back.
    pub fn ask(&self, ending: Ending) {
        self.0.send_if_modified(|asked| {
            let stronger = ending > *asked;
            *asked = ending.max(*asked);
            stronger
        });
    }

    /// What has been asked.
    pub fn asked(&self) -> Ending {
        *self.0.borrow()
    }

    /// Another view for another role.
    pub fn subscribe(&self) -> Shutdown {
        Shutdown(self.0.subscribe())
    }
}

impl Shutdown {
    /// What is asked now.
    pub fn asked(&self) -> Ending {
        if self.0.has_changed().is_err() { Ending::Stop } else { *self.0.borrow() }
    }

    /// Waits until at least this is asked.
    pub async fn at_least(&mut self, ending: Ending) {
        // An error means that the switch is gone, which asks for everything.
        let _ = self.0.wait_for(|asked| *asked >= ending).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn asks_only_grow() {
        let (switch, mut shutdown) = shutdown();
        assert_eq!(shutdown.asked(), Ending::None);
        switch.ask(Ending::Stop);
        switch.ask(Ending::Drain);
        assert_eq!(shutdown.asked(), Ending::Stop);
        shutdown.at_least(Ending::Drain).await;
        let mut other = switch.subscribe();
        drop(switch);
        assert_eq!(other.asked(), Ending::Stop);
        other.at_least(Ending::Stop).await;
    }
}
