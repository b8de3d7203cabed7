//! The operations that the emulator serves.

/// The version that requests to the Live API must name.
pub const LIVE_VERSION: &str = "2016-11-01";
/// The version that requests to STS must name.
pub const STS_VERSION: &str = "2015-04-01";

/// One operation of the Live API or of STS, or a request to the ECS metadata service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Creates a group: `CreateLiveMessageGroup`.
    CreateGroup,
    /// Describes a group: `DescribeLiveMessageGroup`.
    DescribeGroup,
    /// Changes a group: `ModifyLiveMessageGroup`.
    ModifyGroup,
    /// Deletes a group: `DeleteLiveMessageGroup`.
    DeleteGroup,
    /// Recovers a deleted group: `RecoverLiveMessageDeletedGroup`.
    RecoverGroup,
    /// Lists groups by page number: `ListLiveMessageGroupByPage`.
    ListGroupsByPage,
    /// Lists groups by token: `ListLiveMessageGroups`.
    ListGroups,
    /// Creates an app: `CreateLiveMessageApp`.
    CreateApp,
    /// Describes an app: `DescribeLiveMessageApp`.
    DescribeApp,
    /// Lists apps: `ListLiveMessageApps`.
    ListApps,
    /// Changes the audit settings of an app: `ModifyLiveMessageAppAudit`.
    ModifyAppAudit,
    /// Changes the callback URL of an app: `ModifyLiveMessageAppCallback`.
    ModifyAppCallback,
    /// Disables or enables an app: `ModifyLiveMessageAppDisable`.
    ModifyAppDisable,
    /// `AssumeRole` of STS; signed like the Live API.
    AssumeRole,
    /// `AssumeRoleWithOIDC` of STS, the only API operation without a signature.
    AssumeRoleWithOidc,
    /// `EcsMetadata`: the emulator's own name for every request to the ECS metadata service.
    EcsMetadata,
}

impl Operation {
    /// Every operation, in the order of declaration.
    pub const ALL: [Self; 16] = [
        Self::CreateGroup,
        Self::DescribeGroup,
        Self::ModifyGroup,
        Self::DeleteGroup,
        Self::RecoverGroup,
        Self::ListGroupsByPage,
        Self::ListGroups,
        Self::CreateApp,
        Self::DescribeApp,
        Self::ListApps,
        Self::ModifyAppAudit,
        Self::ModifyAppCallback,
        Self::ModifyAppDisable,
        Self::AssumeRole,
        Self::AssumeRoleWithOidc,
        Self::EcsMetadata,
    ];

    /// Whether the operation belongs to the Live API.
    pub fn is_live(self) -> bool {
        !matches!(self, Self::AssumeRole | Self::AssumeRoleWithOidc | Self::EcsMetadata)
    }

    /// The API version that a request must name.
    pub fn version(self) -> &'static str {
        if self.is_live() { LIVE_VERSION } else { STS_VERSION }
    }

    /// The name on the wire: `x-acs-action`, or the parameter `Action` of signature V1.
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateGroup => "CreateLiveMessageGroup",
            Self::DescribeGroup => "DescribeLiveMessageGroup",
            Self::ModifyGroup => "ModifyLiveMessageGroup",
            Self::DeleteGroup => "DeleteLiveMessageGroup",
            Self::RecoverGroup => "RecoverLiveMessageDeletedGroup",
            Self::ListGroupsByPage => "ListLiveMessageGroupByPage",
            Self::ListGroups => "ListLiveMessageGroups",
            Self::CreateApp => "CreateLiveMessageApp",
            Self::DescribeApp => "DescribeLiveMessageApp",
            Self::ListApps => "ListLiveMessageApps",
            Self::ModifyAppAudit => "ModifyLiveMessageAppAudit",
            Self::ModifyAppCallback => "ModifyLiveMessageAppCallback",
            Self::ModifyAppDisable => "ModifyLiveMessageAppDisable",
            Self::AssumeRole => "AssumeRole",
            Self::AssumeRoleWithOidc => "AssumeRoleWithOIDC",
            Self::EcsMetadata => "EcsMetadata",
        }
    }

    /// The operation with this name on the wire; names are case-sensitive.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}
