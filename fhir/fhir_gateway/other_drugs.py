# SPDX-License-Identifier: Apache-2.0
"""Drugs that are certainly none of the rules': so that a list of ordinary drugs is a known list.

Names count as a whole: a product is known only when every word of its name is, so that a combination
("valsartan comp") is not taken for its better known half.
"""

from __future__ import annotations

import re


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


OTHER_RXNORM = _set(
    # Clinical reference 3.4: antivirals, antiplatelets, steroids, immunosuppressants, beta blockers. What of
    # them matters is found by `RXNORM_DRUGS`; a product of theirs holds no drug of another kind.
    "306266 300195 1721603 68244 32968 1116632 613391 8640 8638 6902 3264 5492 42316 3008 68149 7145 35302 "
    "141704 191831 1927283 2266523 1790539 1538097 8787 7226 20352 1191 1256"
)
"""Ingredients."""

_STEMS = re.compile(
    r"cef[a-z]{4,}|[a-z]{3,}(pril|sartan|olol|dipine?|statine?|prazole?|tidine?|gliptine?|gliflozine?"
    r"|glitazone?|glutide?|triptane?|setron|cilline?|floxacine?|cycline?|vir|conazole?|azepam|zolam"
    r"|triptyline?|oxetine?|profen|coxib|terol|tropium|lukast|fibrate?|dronate?|afil|steride?|caine?"
    r"|bactam|penem|micine?|zosine?)"
)
"""WHO's stems of international nonproprietary names, English and German, that no anticoagulant, diuretic
or drug against encephalopathy carries."""

_OTHER_NAMES = _set(
    # Pain, fever, anaesthesia
    "paracetamol acetaminophen metamizole metamizol novaminsulfon dipyrone morphine morphin oxycodone "
    "oxycodon hydromorphone hydromorphon hydrocodone tramadol tilidine tilidin fentanyl remifentanil "
    "sufentanil buprenorphine buprenorphin naloxone naloxon codeine codein gabapentin pregabalin naproxen "
    "diclofenac indomethacin ketamine ketamin propofol rocuronium isoflurane sevoflurane "
    # Metabolism
    "metformin insulin glargine glargin aspart lispro detemir degludec glimepiride glimepirid gliclazide "
    "gliclazid glipizide levothyroxine levothyroxin liothyronine thiamazole thiamazol carbimazole "
    "allopurinol febuxostat colchicine colchicin ezetimibe ezetimib colestyramine colestyramin "
    "cholestyramine "
    # Heart and vessels
    "acetylsalicylic acetylsalicylsäure aspirin ass clopidogrel ticagrelor prasugrel digoxin digitoxin "
    "verapamil losartan diltiazem amiodarone amiodaron dronedarone ivabradine ivabradin ranolazine ranolazin "
    "isosorbide nitroglycerin glyceryl trinitrate hydralazine dihydralazin clonidine clonidin moxonidine "
    "moxonidin methyldopa carvedilol labetalol midodrine midodrin terlipressin octreotide octreotid "
    # Steroids, immunology
    "prednisone prednison prednisolone prednisolon methylprednisolone methylprednisolon dexamethasone "
    "dexamethason hydrocortisone hydrocortison budesonide budesonid fludrocortisone beclometasone "
    "beclomethasone fluticasone fluticason mometasone tacrolimus cyclosporine ciclosporin mycophenolate "
    "mycophenolat mycophenolic sirolimus everolimus azathioprine azathioprin methotrexate methotrexat "
    "hydroxychloroquine sulfasalazine mesalazine mesalazin mesalamine leflunomide leflunomid infliximab "
    "adalimumab vedolizumab ustekinumab rituximab denosumab "
    # Liver, gut
    "ursodiol ursodeoxycholic ursodesoxycholsäure obeticholic metoclopramide metoclopramid domperidone "
    "domperidon loperamide loperamid macrogol polyethylene glycol bisacodyl senna sennosides simethicone "
    "simeticon pancreatin sucralfate "
    # Infection
    "lamivudine lamivudin emtricitabine emtricitabin ribavirin trimethoprim sulfamethoxazole clavulanate "
    "clavulanic clavulansäure piperacillin vancomycin nitrofurantoin fosfomycin clindamycin azithromycin "
    "clarithromycin erythromycin linezolid "
    # Nerves
    "mirtazapine mirtazapin sertraline sertralin citalopram escitalopram venlafaxine venlafaxin bupropion "
    "trazodone trazodon quetiapine quetiapin olanzapine olanzapin risperidone risperidon haloperidol "
    "melperone melperon pipamperone pipamperon zolpidem zopiclone zopiclon melatonin levetiracetam "
    "valproate lamotrigine lamotrigin carbamazepine carbamazepin levodopa carbidopa benserazide donepezil "
    "memantine memantin baclofen tizanidine "
    # Lungs, allergy, bladder
    "salbutamol albuterol ipratropium theophylline theophyllin cetirizine cetirizin loratadine loratadin "
    "desloratadine desloratadin diphenhydramine dimenhydrinate hydroxyzine tamsulosin oxybutynin mirabegron "
    # Cancer
    "docetaxel paclitaxel doxorubicin cisplatin carboplatin oxaliplatin gemcitabine gemcitabin capecitabine "
    "capecitabin fluorouracil leuprolide leuprorelin goserelin tamoxifen letrozole letrozol anastrozole "
    "anastrozol exemestane filgrastim epoetin estradiol progesterone testosterone "
    # Minerals, vitamins, fluids
    "ferrous iron eisen folic folsäure cyanocobalamin thiamine thiamin pyridoxine pyridoxin vitamin "
    "colecalciferol cholecalciferol ergocalciferol zinc zink glucose albumin "
    "calcium magnesium potassium kalium sodium natrium chloride chlorid bicarbonate multivitamin "
    "multivitamins biotin "
    # What else stands on ordinary lists, contrast media and supplies among it
    "alendronic risedronic galantamine galantamin docusate docusat iohexol iopromide iopromid iodixanol "
    "gadobutrol isophane needle needles lancets lancet "
    # Brands of one ingredient that is named above
    "vemlidy viread baraclude zeffix epivir inderal dociton corgard coreg dilatrend plavix brilinta brilique "
    "efient decortin urbason medrol fortecortin prograf advagraf envarsus sandimmun neoral cellcept myfortic "
    "rapamune certican afinitor zortress imuran imurek remicade inflectra remsima cyclosporin hepsera "
    "humira entyvio stelara mabthera rituxan "
    # Immunosuppressants and antivirals that are not named above
    "etanercept golimumab certolizumab tocilizumab abatacept secukinumab tofacitinib baricitinib "
    "upadacitinib cyclophosphamide cyclophosphamid mercaptopurine mercaptopurin belatacept telbivudine "
    "telbivudin "
    "clevudine clevudin"
)

_NEUTRAL = _set(
    # Units and times
    "mg g mcg µg μg ug ml l iu ie unt unit units mmol meq actuat hr hour day daily täglich once twice per in "
    "of for as and und "
    # Forms and ways
    "oral tablet tablets tab tabs capsule capsules cap caps injection injectable solution suspension film "
    "coated extended release delayed er xr sr dr modified chewable disintegrating sublingual powder granules "
    "syrup cream ointment gel drops spray inhaler inhalation inhalant nasal ophthalmic topical transdermal "
    "patch rectal suppository prefilled syringe pen cartridge vial ampoule intravenous infusion "
    "subcutaneous intramuscular metered dose dry iv sc im po tablette tabletten filmtablette filmtabletten "
    "kapsel kapseln hartkapseln weichkapseln retard retardtabletten lösung injektionslösung infusionslösung "
    "tropfen pulver granulat saft zäpfchen salbe creme pflaster ampulle ampullen fertigspritze "
    # Salts
    "hydrochloride hydrochlorid hcl succinate succinat tartrate tartrat maleate maleat fumarate fumarat "
    "besylate besilat mesylate mesilat acetate acetat phosphate phosphat sulfate sulfat citrate citrat "
    "hydrobromide bromide bitartrate monohydrate dihydrate anhydrous tosylate disoproxil alafenamide "
    "alafenamid medoxomil cilexetil etexilate etexilat dipropionate furoate propionate gluconate mofetil "
    "mononitrate dinitrate acid human porcine oxide oxid fluoride besilate regular alfa beta "
    # Further forms and what packages say
    "ec dr odt flush mucosal sublingual lozenge lotion foam enema pellet pellets bag bottle bulk kit gauge "
    "diabetic abuse deterrent immediate enteric low strength adult adults tablette dragees dragee "
    "magensaftresistent magensaftresistente magensaftresistenten brausetabletten schmelztabletten "
    "schmelztablette kautabletten weichkapsel hartkapsel retardkapseln retardtablette trinklösung spritze "
    "augentropfen nasenspray dosieraerosol inhalationspulver zur zum einnehmen "
    # Manufacturers
    "ratiopharm hexal stada stadapharm al aliud sandoz zentiva teva mylan viatris heumann aristo aurobindo "
    "puren accord basics abz betapharm winthrop tad glenmark micro pharma"
)

_WORD = re.compile(r"[^\W\d_]+")
_BRAND = re.compile(r"\[[^\[\]]*\]\s*$")
"""RxNorm ends the name of a branded product with the brand, after all of its ingredients."""
_BRAND_IN_BRACKETS = re.compile(r"\((?P<brand>[^()]+)\)")
"""Many an EHR writes the brand behind the generic name: `losartan (COZAAR) 50 mg tablet`."""
_COMBINED = frozenset(
    {"plus", "comp", "compositum", "combi", "kombi", "duo", "diu", "co", "with", "and", "mit"}
)
"""Words by which a brand says that it holds more than the generic name before it."""
_NO_NAME = re.compile(r"\bnda\d+\b|\b1[ -]?a pharma\b|(?<=\bpenicillin )[vg]\b", re.IGNORECASE)
"""Number of a drug's approval, which RxNorm puts first; a manufacturer and a letter that are no words."""
_OFTEN_WITH_DIURETIC = re.compile(r"[a-z]+(pril|sartan|olol|dipine?)")
_TWO_STRENGTHS = re.compile(r"\d\s?(mg)?\s?[/+]\s?\d", re.IGNORECASE)
"""`losartan 100/25 mg`: the second drug is told by its strength alone."""
_VITAMIN = re.compile(r"\bvitamin[ -]?[a-ek](?![^\W\d_])\d*")


def words(text: str) -> list[str]:
    """Return the words of `text` in lower case; numbers are none."""
    return _WORD.findall(_VITAMIN.sub("vitamin", text.lower()))


def names_other_drugs_only(text: str) -> bool:
    """Whether `text` names at least one of these drugs, and nothing that is not known."""
    text = _without_brand(_BRAND.sub("", _NO_NAME.sub(" ", text)))
    named = words(text)
    known = [word for word in named if _is_known(word)]
    if len(known) == 1 and _OFTEN_WITH_DIURETIC.fullmatch(known[0]) and _TWO_STRENGTHS.search(text):
        return False
    return bool(known) and all(word in known or word in _NEUTRAL for word in named)


def _without_brand(text: str) -> str:
    """Return `text` without a brand in brackets, when the words before it are known by themselves."""
    match = _BRAND_IN_BRACKETS.search(text)
    if match is None or not _COMBINED.isdisjoint(words(match["brand"])):
        return text
    before = words(text[: match.start()])
    generic = any(map(_is_known, before)) and all(_is_known(word) or word in _NEUTRAL for word in before)
    return text[: match.start()] + text[match.end() :] if generic else text


def _is_known(word: str) -> bool:
    return word in _OTHER_NAMES or _STEMS.fullmatch(word) is not None
