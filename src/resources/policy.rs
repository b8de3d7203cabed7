//! The policies of a `LiveMessageGroup`: what the operator may do to the group. All of them may be changed at any time.

use serde::{Deserialize, Serialize};

macro_rules! policy {
    ($(#[$doc:meta])+ $name:ident { $($(#[$value_doc:meta])+ $value:ident,)+ }) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$value_doc])+ $value,)+
        }

        impl $name {
            /// Every value, the default first.
            pub const ALL: &'static [Self] = &[$(Self::$value,)+];

            /// The word written into the spec.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => stringify!($value),)+ }
            }
        }
    };
}

policy! {
    /// What the operator may do to the group.
    ManagementPolicy {
        /// Create or adopt it, and keep its mutable fields as the spec says.
        #[default]
        Manage,
        /// Create or adopt it, create it again when it is gone, and never modify it.
        CreateOnly,
        /// Only look.
        Observe,
    }
}

policy! {
    /// What happens to the group when its object is deleted.
    DeletionPolicy {
        /// It stays.
        #[default]
        Retain,
        /// It is deleted, if this object created it.
        Delete,
    }
}

policy! {
    /// What happens when the group is found deleted.
    DeletedGroupPolicy {
        /// It is reported.
        #[default]
        Report,
        /// It is recovered.
        Recover,
    }
}
