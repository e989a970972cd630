//! What a service manager is told, as sd_notify(3) has it: when we are ready, that we are alive, when
//! we read the configuration anew or stop, and a line on how it goes. Where nobody asked for it
//! (`NOTIFY_SOCKET` is not set) nothing is said.

use std::env;

use sd_notify::NotifyState;

/// The service manager that started us, if one did.
#[derive(Debug)]
pub struct Service {
    present: bool,
    /// It ends us where it hears nothing for a while.
    watches: bool,
    /// What it was told last.
    status: String,
}

impl Service {
    /// As the environment says.
    #[must_use]
    pub fn find() -> Self {
        Self {
            present: env::var_os("NOTIFY_SOCKET").is_some(),
            watches: sd_notify::watchdog_enabled().is_some(),
            status: String::new(),
        }
    }

    /// Everything is attached and the control socket listens.
    pub fn ready(&mut self, status: impl FnOnce() -> String) {
        self.tell(Some(NotifyState::Ready), status);
    }

    /// The main loop has just done what it does each second, and done it well.
    pub fn alive(&mut self, status: impl FnOnce() -> String) {
        self.tell(self.watches.then_some(NotifyState::Watchdog), status);
    }

    /// The configuration is read anew; [`Service::ready`] ends that.
    pub fn reloading(&self) {
        // systemd takes no reload for one that does not say when it began.
        let now = NotifyState::monotonic_usec_now().ok();
        self.send(&[Some(NotifyState::Reloading), now].into_iter().flatten().collect::<Vec<_>>());
    }

    /// We are about to end.
    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// Says `state`, and the status where that is another one than before.
    fn tell(&mut self, state: Option<NotifyState<'_>>, status: impl FnOnce() -> String) {
        if !self.present {
            return;
        }
        let status = status();
        let news = (status != self.status).then_some(NotifyState::Status(&status));
        self.send(&state.into_iter().chain(news).collect::<Vec<_>>());
        self.status = status;
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        if self.present
            && !states.is_empty()
            && let Err(error) = sd_notify::notify(states)
        {
            tracing::warn!("the service manager cannot be told how we are: {error}");
        }
    }
}
