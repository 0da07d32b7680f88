//! How much devices send to each other.

/// What a device has handed to others so far: the floats, without what surrounds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many messages. One that is for several ranks is sent to each.
    pub messages: u64,
    /// What they weigh together.
    pub bytes: u64,
}

impl Traffic {
    /// What has been sent since it was `earlier`.
    pub fn since(self, earlier: Traffic) -> Traffic {
        let (messages, bytes) = (self.messages - earlier.messages, self.bytes - earlier.bytes);
        Traffic { messages, bytes }
    }

    /// That of two ranks together.
    pub fn and(self, other: Traffic) -> Traffic {
        Traffic { messages: self.messages + other.messages, bytes: self.bytes + other.bytes }
    }
}
