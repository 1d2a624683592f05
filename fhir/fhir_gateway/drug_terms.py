# SPDX-License-Identifier: Apache-2.0
"""Codes and names of the drugs that matter to the rules: RxNorm, ATC, INN in English and German, brands.

Only what the clinical reference (3.4) gives as verified or well known; a drug that is missing here is not
taken for one without meaning, see `fhir_gateway.drugs`.
"""

from __future__ import annotations

from model.patient_facts import Drug

_RXNORM = {
    Drug.ATEZOLIZUMAB: "1792776 1792780 1792785 2119695 2119696 2693894 2693892 2693899",
    Drug.DURVALUMAB: "1919503 1919508 1919507 1919515 1919512 1919516",
    Drug.TREMELIMUMAB: "2619313 2619319 2619317 2619325 2619323 2619326 2619312",
    Drug.NIVOLUMAB: (
        "1597876 1597881 2700800 1657190 1657195 1991412 2569080 2700798 1657192 1657196 1991413 "
        "2569081 2700805 2700791"
    ),
    Drug.IPILIMUMAB: "1094833 1094837 1657005 1657012 1657007 1657013",
    Drug.PEMBROLIZUMAB: "1547545 1547550 2723764 1657750 2723762 2723771 1657751 2723769 2723772 2723753",
    Drug.TISLELIZUMAB: "2677426 2677434 2677432 2677439 2677425",
    Drug.TORIPALIMAB: "2669406 2669415 2669413 2669420 2669407",
    Drug.PENPULIMAB: "2712542 2712652 2712646",
    Drug.BEVACIZUMAB: (
        "253337 2046141 2268040 2599045 2627652 2700737 2712050 337521 1657066 1657073 2046140 "
        "2046148 2268039 2268047 2599043 2599051 2627650 2627658 2700735 2700744 2712048 2712057 "
        "1657068 1657074 2046145 2046149 2268044 2268048 2599049 2599052 2627656 2627659 2700742 "
        "2700745 2712055 2712058 2627648 2046138 2268037 2599041 2712044 2700660"
    ),
    Drug.RAMUCIRUMAB: "1535922 1535993 1657775 1657780 1657777 1657781",
    Drug.LENVATINIB: (
        "1603296 1792372 1604345 1604348 1792377 1796538 1604349 1604351 1604383 1604394 1792392 "
        "1796664 2054156 2054158"
    ),
    Drug.SORAFENIB: "495881 619985 597747 615979",
    Drug.REGORAFENIB: "1312397 1312403 1312402 1312408",
    Drug.CABOZANTINIB: (
        "1363268 1363274 1790162 1363273 1363281 1790161 1790169 1790173 1363279 1363284 1790167 "
        "1790171 1790175 1363312 1363409 1364580"
    ),
    Drug.WARFARIN: "11289",
    Drug.APIXABAN: "1364430",
    Drug.RIVAROXABAN: "1114195",
    Drug.DABIGATRAN: "1037042",
    Drug.EDOXABAN: "1599538",
    Drug.ENOXAPARIN: "67108",
    Drug.DALTEPARIN: "67109",
    Drug.FONDAPARINUX: "321208",
    Drug.HEPARIN: "5224",
    Drug.SPIRONOLACTONE: "9997",
    Drug.FUROSEMIDE: "4603",
    Drug.TORSEMIDE: "38413",
    Drug.ENTECAVIR: "306266",
    Drug.TENOFOVIR_DISOPROXIL: "300195 322248",
    Drug.TENOFOVIR_ALAFENAMIDE: "1721603",
    Drug.LAMIVUDINE: "68244",
    Drug.PROPRANOLOL: "8787",
    Drug.NADOLOL: "7226",
    Drug.CARVEDILOL: "20352",
    Drug.ASPIRIN: "1191",
    Drug.CLOPIDOGREL: "32968",
    Drug.TICAGRELOR: "1116632",
    Drug.PRASUGREL: "613391",
    Drug.PREDNISONE: "8640",
    Drug.PREDNISOLONE: "8638",
    Drug.METHYLPREDNISOLONE: "6902",
    Drug.DEXAMETHASONE: "3264",
    Drug.HYDROCORTISONE: "5492",
    Drug.TACROLIMUS: "42316",
    Drug.CICLOSPORIN: "3008",
    Drug.MYCOPHENOLATE: "68149 7145",
    Drug.SIROLIMUS: "35302",
    Drug.EVEROLIMUS: "141704",
    Drug.AZATHIOPRINE: "1256",
    Drug.INFLIXIMAB: "191831 1927283 2266523 1790539",
    Drug.VEDOLIZUMAB: "1538097",
    Drug.LACTULOSE: "6218",
    Drug.RIFAXIMIN: "35619",
    Drug.OTHER_CHECKPOINT_INHIBITOR: (
        "2058826 2058831 2058830 2058835 2058825 2539967 2539973 2539972 2539977 2539968 2632981 "
        "2632987 2632985 2632991 2632980 2717511 2717520 2717518 2717525 2717512 2596773 2596780 "
        "2596778 2596784 2596772 2596775 2596770"
    ),
}
"""Ingredients, and for the drugs of regimens also brands and products."""

RXNORM_DRUGS = {code: drug for drug, codes in _RXNORM.items() for code in codes.split()}

ATC_DRUGS = {
    "L01FF05": Drug.ATEZOLIZUMAB,
    "L01FF03": Drug.DURVALUMAB,
    "L01FX20": Drug.TREMELIMUMAB,
    "L01FF01": Drug.NIVOLUMAB,
    "L01FX04": Drug.IPILIMUMAB,
    "L01FF02": Drug.PEMBROLIZUMAB,
    "L01FF09": Drug.TISLELIZUMAB,
    "L01FG01": Drug.BEVACIZUMAB,
    "L01FG02": Drug.RAMUCIRUMAB,
    "L01EX02": Drug.SORAFENIB,
    "L01EX05": Drug.REGORAFENIB,
    "L01EX07": Drug.CABOZANTINIB,
    "L01EX08": Drug.LENVATINIB,
    "B01AA03": Drug.WARFARIN,
    "B01AA04": Drug.PHENPROCOUMON,
    "B01AA07": Drug.ACENOCOUMAROL,
    "B01AB01": Drug.HEPARIN,
    "B01AB04": Drug.DALTEPARIN,
    "B01AB05": Drug.ENOXAPARIN,
    "B01AB06": Drug.NADROPARIN,
    "B01AB10": Drug.TINZAPARIN,
    "B01AE03": Drug.ARGATROBAN,
    "B01AE06": Drug.BIVALIRUDIN,
    "B01AE07": Drug.DABIGATRAN,
    "B01AF01": Drug.RIVAROXABAN,
    "B01AF02": Drug.APIXABAN,
    "B01AF03": Drug.EDOXABAN,
    "B01AX05": Drug.FONDAPARINUX,
    "C03AA03": Drug.HYDROCHLOROTHIAZIDE,
    "C03BA04": Drug.CHLORTHALIDONE,
    "C03BA08": Drug.METOLAZONE,
    "C03BA10": Drug.XIPAMIDE,
    "C03BA11": Drug.INDAPAMIDE,
    "C03CA01": Drug.FUROSEMIDE,
    "C03CA02": Drug.BUMETANIDE,
    "C03CA04": Drug.TORSEMIDE,
    "C03DA01": Drug.SPIRONOLACTONE,
    "C03DA04": Drug.EPLERENONE,
    "C03DB01": Drug.AMILORIDE,
    "C03DB02": Drug.TRIAMTERENE,
    "A06AD11": Drug.LACTULOSE,
    "A06AD12": Drug.LACTITOL,
    "A06AD61": Drug.LACTULOSE,
    "A07AA11": Drug.RIFAXIMIN,
    # From memory, and confident: the reference gives no ATC code of these.
    "J05AF10": Drug.ENTECAVIR,
    "J05AF07": Drug.TENOFOVIR_DISOPROXIL,
    "J05AF13": Drug.TENOFOVIR_ALAFENAMIDE,
    "J05AF05": Drug.LAMIVUDINE,
    "J05AF08": Drug.ADEFOVIR,
    "J05AF11": Drug.TELBIVUDINE,
    "C07AA05": Drug.PROPRANOLOL,
    "C07AA12": Drug.NADOLOL,
    "C07AG02": Drug.CARVEDILOL,
    "B01AC06": Drug.ASPIRIN,
    "B01AC04": Drug.CLOPIDOGREL,
    "B01AC24": Drug.TICAGRELOR,
    "B01AC22": Drug.PRASUGREL,
    "H02AB07": Drug.PREDNISONE,
    "H02AB06": Drug.PREDNISOLONE,
    "H02AB04": Drug.METHYLPREDNISOLONE,
    "H02AB02": Drug.DEXAMETHASONE,
    "H02AB09": Drug.HYDROCORTISONE,
    "A07EA06": Drug.BUDESONIDE,
    "L04AD02": Drug.TACROLIMUS,
    "L04AD01": Drug.CICLOSPORIN,
    "L04AA06": Drug.MYCOPHENOLATE,
    "L04AX01": Drug.AZATHIOPRINE,
    # WHO moved sirolimus, everolimus, leflunomide and vedolizumab: records hold the older codes as well.
    "L04AA10": Drug.SIROLIMUS,
    "L04AH01": Drug.SIROLIMUS,
    "L04AA18": Drug.EVEROLIMUS,
    "L04AH02": Drug.EVEROLIMUS,
    "L01EG02": Drug.EVEROLIMUS,
    "L04AA13": Drug.LEFLUNOMIDE,
    "L04AK01": Drug.LEFLUNOMIDE,
    "L04AA33": Drug.VEDOLIZUMAB,
    "L04AG05": Drug.VEDOLIZUMAB,
    "L04AB02": Drug.INFLIXIMAB,
    "L04AB04": Drug.ADALIMUMAB,
    "L04AC05": Drug.USTEKINUMAB,
    "L04AX03": Drug.METHOTREXATE,
    "L01BA01": Drug.METHOTREXATE,
    "L01FA01": Drug.RITUXIMAB,
}
"""Substances, level 5."""

ATC_GROUPS = {
    "L01FF": Drug.OTHER_CHECKPOINT_INHIBITOR,
    "L01FG": Drug.OTHER_ANTI_ANGIOGENIC,
    "B01AA": Drug.OTHER_ANTICOAGULANT,
    "B01AB": Drug.OTHER_ANTICOAGULANT,
    "B01AE": Drug.OTHER_ANTICOAGULANT,
    "B01AF": Drug.OTHER_ANTICOAGULANT,
    "C03": Drug.OTHER_DIURETIC,
    # Antihypertensives that hold a diuretic by the definition of their group.
    "C02L": Drug.OTHER_DIURETIC,
    "C07B": Drug.OTHER_DIURETIC,
    "C07C": Drug.OTHER_DIURETIC,
    "C07D": Drug.OTHER_DIURETIC,
    "C08G": Drug.OTHER_DIURETIC,
    "C09BA": Drug.OTHER_DIURETIC,
    "C09DA": Drug.OTHER_DIURETIC,
    # Inhibitors of platelet aggregation, corticosteroids and immunosuppressants by the name of their group.
    "B01AC": Drug.OTHER_ANTIPLATELET,
    "H02AB": Drug.OTHER_CORTICOSTEROID,
    "H02B": Drug.OTHER_CORTICOSTEROID,
    "A07EA": Drug.OTHER_CORTICOSTEROID,
    "L04": Drug.OTHER_IMMUNOSUPPRESSANT,
}
"""Groups: every substance in them has the role."""

ATC_UNSURE = (
    "A05BA",
    "A07AA",
    "B01",
    "B05BC",
    "C07E",
    "C07F",
    "C09BX",
    "C09DX",
    "C09X",
    "C10BX",
    # Kinase inhibitors, antibodies and their combinations: new ones against angiogenesis and checkpoints.
    "L01EX",
    "L01FX",
    "L01FY",
    # Drugs against cancers of the blood that are given to suppress immunity as well.
    "L01AA",
    "L01BB",
    "L01EG",
    "L01EJ",
    "L01FA",
    # Further antivirals that act on hepatitis B, and combinations for HIV that hold one of them.
    "J05AF",
    "J05AR",
)
"""Groups that hold drugs of a role beside others, such as combinations of which some have a diuretic."""

ATC_SURELY_OTHER = ("B01AC",)
"""Within `ATC_UNSURE`: inhibitors of platelet aggregation hold no anticoagulant beside."""

_NAMES = {
    Drug.ATEZOLIZUMAB: "atezolizumab tecentriq",
    Drug.DURVALUMAB: "durvalumab imfinzi",
    Drug.TREMELIMUMAB: "tremelimumab imjudo",
    Drug.NIVOLUMAB: "nivolumab opdivo",
    Drug.IPILIMUMAB: "ipilimumab yervoy",
    Drug.PEMBROLIZUMAB: "pembrolizumab keytruda",
    Drug.TISLELIZUMAB: "tislelizumab tevimbra",
    Drug.TORIPALIMAB: "toripalimab loqtorzi",
    Drug.SINTILIMAB: "sintilimab tyvyt",
    Drug.CAMRELIZUMAB: "camrelizumab",
    Drug.PENPULIMAB: "penpulimab",
    Drug.OTHER_CHECKPOINT_INHIBITOR: (
        "cemiplimab libtayo dostarlimab jemperli avelumab bavencio retifanlimab zynyz cosibelimab relatlimab "
        "opdualag"
    ),
    Drug.BEVACIZUMAB: "bevacizumab avastin mvasi zirabev alymsys vegzelma avzivi jobevne",
    Drug.RAMUCIRUMAB: "ramucirumab cyramza",
    Drug.LENVATINIB: "lenvatinib lenvima kisplyx",
    Drug.SORAFENIB: "sorafenib nexavar",
    Drug.REGORAFENIB: "regorafenib stivarga",
    Drug.CABOZANTINIB: "cabozantinib cabometyx cometriq",
    Drug.RIVOCERANIB: "rivoceranib apatinib",
    Drug.ANLOTINIB: "anlotinib",
    Drug.WARFARIN: "warfarin coumadin jantoven",
    Drug.PHENPROCOUMON: "phenprocoumon marcumar falithrom",
    Drug.ACENOCOUMAROL: "acenocoumarol acenocumarol sintrom",
    Drug.APIXABAN: "apixaban eliquis",
    Drug.RIVAROXABAN: "rivaroxaban xarelto",
    Drug.DABIGATRAN: "dabigatran dabigatranetexilat pradaxa",
    Drug.EDOXABAN: "edoxaban lixiana savaysa",
    Drug.ENOXAPARIN: "enoxaparin clexane lovenox",
    Drug.DALTEPARIN: "dalteparin fragmin",
    Drug.TINZAPARIN: "tinzaparin innohep",
    Drug.NADROPARIN: "nadroparin fraxiparin fraxiparine fraxodi",
    Drug.CERTOPARIN: "certoparin",
    Drug.FONDAPARINUX: "fondaparinux arixtra",
    Drug.HEPARIN: "heparin liquemin",
    Drug.ARGATROBAN: "argatroban argatra",
    Drug.BIVALIRUDIN: "bivalirudin angiomax",
    Drug.OTHER_ANTICOAGULANT: "fluindione danaparoid desirudin reviparin bemiparin",
    Drug.SPIRONOLACTONE: "spironolactone spironolacton aldactone aldactazide",
    Drug.EPLERENONE: "eplerenone eplerenon inspra",
    Drug.FUROSEMIDE: "furosemide furosemid lasix",
    Drug.TORSEMIDE: "torsemide torasemide torasemid torem demadex",
    Drug.BUMETANIDE: "bumetanide bumetanid bumex burinex",
    Drug.AMILORIDE: "amiloride amilorid",
    Drug.TRIAMTERENE: "triamterene triamteren dyazide maxzide",
    Drug.HYDROCHLOROTHIAZIDE: "hydrochlorothiazide hydrochlorothiazid hctz hct esidrix microzide",
    Drug.CHLORTHALIDONE: "chlorthalidone chlortalidone chlortalidon chlorthalidon hygroton",
    Drug.INDAPAMIDE: "indapamide indapamid natrilix",
    Drug.XIPAMIDE: "xipamide xipamid aquaphor",
    Drug.METOLAZONE: "metolazone metolazon zaroxolyn",
    Drug.OTHER_DIURETIC: (
        "piretanide piretanid etacrynic edecrin chlorothiazide diuril bendroflumethiazide "
        "bendroflumethiazid finerenone finerenon kerendia canrenoate tolvaptan samsca"
    ),
    Drug.LACTULOSE: "lactulose bifiteral duphalac",
    Drug.LACTITOL: "lactitol",
    Drug.RIFAXIMIN: "rifaximin xifaxan targaxan",
    Drug.ORNITHINE_ASPARTATE: "ornithine ornithin ornithinaspartat",
    Drug.ENTECAVIR: "entecavir baraclude",
    Drug.TENOFOVIR_DISOPROXIL: "tenofovir viread",
    Drug.TENOFOVIR_ALAFENAMIDE: "alafenamide alafenamid vemlidy",
    Drug.LAMIVUDINE: "lamivudine lamivudin zeffix epivir",
    Drug.ADEFOVIR: "adefovir hepsera",
    Drug.TELBIVUDINE: "telbivudine telbivudin",
    Drug.OTHER_HBV_ANTIVIRAL: "besifovir clevudine clevudin",
    Drug.PROPRANOLOL: "propranolol inderal dociton",
    Drug.NADOLOL: "nadolol corgard",
    Drug.CARVEDILOL: "carvedilol coreg dilatrend",
    Drug.ASPIRIN: "aspirin ass acetylsalicylic acetylsalicylsäure",
    Drug.CLOPIDOGREL: "clopidogrel plavix",
    Drug.TICAGRELOR: "ticagrelor brilinta brilique",
    Drug.PRASUGREL: "prasugrel effient efient",
    Drug.PREDNISONE: "prednisone prednison decortin",
    Drug.PREDNISOLONE: "prednisolone prednisolon",
    Drug.METHYLPREDNISOLONE: "methylprednisolone methylprednisolon urbason medrol",
    Drug.DEXAMETHASONE: "dexamethasone dexamethason fortecortin",
    Drug.HYDROCORTISONE: "hydrocortisone hydrocortison",
    Drug.BUDESONIDE: "budesonide budesonid",
    Drug.TACROLIMUS: "tacrolimus prograf advagraf envarsus",
    Drug.CICLOSPORIN: "ciclosporin cyclosporine cyclosporin sandimmun neoral",
    Drug.MYCOPHENOLATE: "mycophenolate mycophenolat mycophenolic cellcept myfortic",
    Drug.SIROLIMUS: "sirolimus rapamune",
    Drug.EVEROLIMUS: "everolimus certican afinitor zortress",
    Drug.AZATHIOPRINE: "azathioprine azathioprin imuran imurek",
    Drug.INFLIXIMAB: "infliximab remicade inflectra remsima",
    Drug.ADALIMUMAB: "adalimumab humira",
    Drug.VEDOLIZUMAB: "vedolizumab entyvio",
    Drug.USTEKINUMAB: "ustekinumab stelara",
    Drug.RITUXIMAB: "rituximab mabthera rituxan",
    Drug.METHOTREXATE: "methotrexate methotrexat",
    Drug.LEFLUNOMIDE: "leflunomide leflunomid",
    Drug.OTHER_IMMUNOSUPPRESSANT: (
        "etanercept golimumab certolizumab tocilizumab abatacept secukinumab tofacitinib baricitinib "
        "upadacitinib cyclophosphamide cyclophosphamid mercaptopurine mercaptopurin belatacept"
    ),
}

DRUG_NAMES = {name: drug for drug, names in _NAMES.items() for name in names.split()}
"""Whole words in lower case."""
