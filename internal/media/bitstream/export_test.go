package bitstream

// AVCSets and HVCSets let tests hand the parameter sets of a configuration to another
// reader.
var (
	AVCSets = avcSets
	HVCSets = hvcSets
)
