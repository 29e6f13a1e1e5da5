//! Properties of the program that checks across keys depend on.

/// Properties of the program that checks across keys depend on.
///
/// [`Context::default`] is right for a program that carries out the responses of the
/// configuration and supports several rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// The party that carries out responses.
    pub responses: Responses,
    /// Support for several rings.
    pub rings: Rings,
    /// How the program watches the ports.
    pub ports: PortAccess,
}

/// The party that carries out responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Responses {
    /// The actions of the `KILL_` keys. A configuration that blocks must set one.
    #[default]
    Configured,
    /// The embedding program. `BLOCK_TCP` and `BLOCK_UDP` need no `KILL_` key.
    Embedder,
}

/// Support for several rings per interface, `CAPTURE_RINGS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rings {
    /// Any number; also for a program that does not capture.
    #[default]
    Supported,
    /// One, because of the chosen method: another number is an error.
    NeedRaw,
    /// One, because of how the program was built: another number is a warning.
    NotBuilt,
}

/// How the program watches the ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PortAccess {
    /// It captures packets, so any number of ports can be watched.
    #[default]
    Captured,
    /// It binds each port, as connect mode does: the word `ALL` is an error.
    Bound,
}

impl Context {
    /// Returns a copy with `responses`.
    #[must_use]
    pub const fn responses(self, responses: Responses) -> Self {
        Self { responses, ..self }
    }

    /// Returns a copy with `rings`.
    #[must_use]
    pub const fn rings(self, rings: Rings) -> Self {
        Self { rings, ..self }
    }

    /// Returns a copy with `ports`.
    #[must_use]
    pub const fn ports(self, ports: PortAccess) -> Self {
        Self { ports, ..self }
    }
}
