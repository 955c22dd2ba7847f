"""Forms of twin management: what a twin can do, what it is asked, what it found (3GPP TS 28.561)."""

from typing import Annotated, Any

from pydantic import Field

from twinloop.service.analytics import Form, Some

Pairs = Annotated[dict[str, Any], Field(min_length=1)]
"""Names and values of attributes."""


class ScopeDefinition(Form):
    """What of a network is meant, by distinguished names."""

    managed_entities_scope: list[str]


class NdtFunctionScope(Form):
    """What a twin mirrors of the radio network."""

    ran_scope: ScopeDefinition = Field(validation_alias="nDTRANScope", serialization_alias="nDTRANScope")


class NdtFunction(Form):
    """A twin and what it is capable of."""

    id: str
    object_class: str = "NDTFunction"
    object_instance: str
    capabilities: Some[str] = Field(
        validation_alias="supportedNDTCapabilities", serialization_alias="supportedNDTCapabilities"
    )
    scope: NdtFunctionScope = Field(validation_alias="nDTFunctionScope", serialization_alias="nDTFunctionScope")


class SimulationData(Form):
    """Settings to try: `configuration_data`, names and values."""

    configuration_data: list[Pairs] | None = None


class SimulationDataDescriptor(Form):
    """Data of a scenario. Conditions are passed over."""

    simulation_data: list[SimulationData] | None = None


class NdtScenario(Form):
    """NDTInputDescription: what is to be tried."""

    input_id: str | None = Field(
        default=None, validation_alias="nDTInputDescriptionId", serialization_alias="nDTInputDescriptionId"
    )
    simulation_data_descriptor: list[SimulationDataDescriptor] | None = None


class NdtRequirements(Form):
    """NdtJobExecutionReqts: at most so many seconds of running."""

    max_runtime: Annotated[int, Field(ge=1)] | None = None


class JobState(Form):
    """Where a job stands. The standard's job has no state; this is our container of vendor data in it."""

    id: str = "state"
    attributes: dict[str, Any]


class NdtJob(Form):
    """A question to a twin. `id`, names and containers of what is sent are passed over."""

    id: str | None = None
    object_class: str = "NDTJob"
    object_instance: str | None = None
    state: list[JobState] | None = Field(
        default=None, validation_alias="VsDataContainer", serialization_alias="VsDataContainer"
    )
    capability: str = Field(validation_alias="nDTCapability", serialization_alias="nDTCapability")
    scenario: NdtScenario | None = Field(
        default=None, validation_alias="nDTJobScenario", serialization_alias="nDTJobScenario"
    )
    requirements: NdtRequirements | None = Field(
        default=None,
        validation_alias="nDTJobExecutionRequirements",
        serialization_alias="nDTJobExecutionRequirements",
    )
    report_names: list[str] | None = Field(
        default=None, validation_alias="nDTReportRefList", serialization_alias="nDTReportRefList"
    )


class NdtOutput(Form):
    """NDTOutputDescription: attributes of one object."""

    output_id: str = Field(validation_alias="nDTOutputDescriptionId", serialization_alias="nDTOutputDescriptionId")
    object_instance: str
    attributes: Some[Pairs] = Field(validation_alias="objectAttributeList", serialization_alias="objectAttributeList")


class NdtDataPoint(Form):
    """NDTOutputDataPoint: what was assumed of the network, what was tried, what was seen."""

    network_state: Some[NdtOutput] | None = None
    network_configuration: Some[NdtOutput] | None = None
    observations: Some[NdtOutput] | None = None


class NdtReport(Form):
    """What a job found."""

    id: str
    object_class: str = "NDTReport"
    object_instance: str
    output: Some[NdtDataPoint] = Field(validation_alias="nDTJobOutputData", serialization_alias="nDTJobOutputData")
    job_name: str = Field(validation_alias="nDTJobRef", serialization_alias="nDTJobRef")
