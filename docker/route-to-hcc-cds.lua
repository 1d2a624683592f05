-- SPDX-License-Identifier: Apache-2.0
-- Sends images and outlines to HCC-CDS, series by series: were it whole studies, each report that comes
-- back would make its study new and all its images go out again.

local READ_BY_HCC_CDS = {CT = true, MR = true, SEG = true, RTSTRUCT = true}

function OnStableSeries(seriesId, tags, metadata)
  -- RemoteAET is who sent the series to Orthanc. What HCC-CDS sent, among it segmentations, is not sent back.
  if READ_BY_HCC_CDS[tags['Modality']] and metadata['RemoteAET'] ~= 'HCC_CDS' then
    -- Not SendToModality, which takes single instances only. As a job, for this script holds up the others.
    RestApiPost('/modalities/HCC_CDS/store', DumpJson({Resources = {seriesId}, Synchronous = false}))
  end
end
